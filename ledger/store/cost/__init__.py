"""The factory, pools and cost lines."""
