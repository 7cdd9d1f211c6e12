"""What each choice of settings did: scores, shares of their variation, winners by partition."""
