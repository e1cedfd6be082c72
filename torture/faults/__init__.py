"""Faults: of clients, files, disks, processes, the catalog and the clock."""
