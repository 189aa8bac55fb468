"""A service with the actuator of Spring Boot, as pyctuator brings it to Python: the file `down` in its folder makes its database fail."""

import os
import sys
from dataclasses import dataclass

from flask import Flask
from pyctuator.health.health_provider import HealthDetails, HealthProvider, HealthStatus, Status
from pyctuator.pyctuator import Pyctuator

folder, port = sys.argv[1], int(sys.argv[2])


@dataclass
class Details(HealthDetails):
    pool: int


class Database(HealthProvider):
    def is_supported(self):
        return True

    def get_name(self):
        return "db"

    def get_health(self):
        down = os.path.exists(os.path.join(folder, "down"))
        return HealthStatus(status=Status.DOWN if down else Status.UP, details=Details(pool=5))


app = Flask("orders")
url = "http://127.0.0.1:%d" % port
pyctuator = Pyctuator(app, "orders", app_url=url, pyctuator_endpoint_url=url + "/actuator", registration_url=None)
pyctuator.register_health_provider(Database())
app.run("127.0.0.1", port, threaded=True)
