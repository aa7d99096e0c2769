"""Training: weights enter the loss; everything else is transformers' Trainer."""
