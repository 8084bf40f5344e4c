"""Training: pretraining on MOTS (Secs. 3.6 and 4.1) and fine-tuning downstream (Sec. 3.7)."""
