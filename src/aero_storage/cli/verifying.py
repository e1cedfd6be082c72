"""`aero-storage verify`: are published chunks what their manifest says, on disk or as a client gets them."""
