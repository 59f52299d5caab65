"""Networks that run at many widths with one set of weights: S-Net, US-Net and AutoSlim."""
