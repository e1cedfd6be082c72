"""A PC in a headless Chromium that reads its disk from a server: v86, a page for it, and a driver of the browser."""
