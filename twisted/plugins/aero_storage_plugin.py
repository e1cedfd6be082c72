"""The dropin that makes `twistd aero-storage` known; the service's module is named, not imported."""

from twisted.application.service import ServiceMaker

aero_storage = ServiceMaker(
    "aero-storage",
    "aero_storage.service.tap",
    "Stream large disk images to browsers over HTTP ranges.",
    "aero-storage",
)
