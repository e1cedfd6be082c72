"""The emulator of the page, and its firmware: files in a directory, which `aero-storage page fetch` fills.

They are no part of the package: v86 is under BSD-2-Clause, SeaBIOS under LGPLv3.
"""
