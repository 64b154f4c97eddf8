"""What meters prove: counters into energy, device into facility, energy into power cost."""
