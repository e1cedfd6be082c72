"""`aero-storage top`: a daemon's metrics, read again and again, as figures on a screen."""
