"""A gRPC server with the health service of grpcio-health-checking: the file `serving` in its folder says what it answers for
the service `orders.v1`. With a third argument it has no health service.
"""

import os
import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

folder, port = sys.argv[1], sys.argv[2]


class Health(health.HealthServicer):
    def Check(self, request, context):
        with open(os.path.join(folder, "serving")) as status:
            self.set("orders.v1", health_pb2.HealthCheckResponse.ServingStatus.Value(status.read().strip()))
        return super().Check(request, context)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
if len(sys.argv) == 3:
    health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
server.add_insecure_port("127.0.0.1:" + port)
server.start()
server.wait_for_termination()
