"""The starters of the real parts: a metric that goes bad reaches a webhook, and what is started is stopped."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from real.prometheus import Exposition, RealAlertmanager, RealPrometheus, in_thread, until


async def test_a_metric_going_bad_reaches_the_webhook(tmp_path):
    received = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Webhook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with Exposition('works{service="checkout"} 1') as exposition:
            async with (
                RealAlertmanager(tmp_path, webhook=f"http://127.0.0.1:{server.server_port}/webhook") as alertmanager,
                RealPrometheus(
                    tmp_path,
                    targets=[exposition.address],
                    rules=[{"alert": "Down", "expr": "works == 0", "labels": {"severity": "critical"}}],
                    alertmanagers=[alertmanager.address],
                ) as prometheus,
            ):
                await until(in_thread(lambda: prometheus.query("works")))
                exposition.text = 'works{service="checkout"} 0'
                await until(lambda: received)
                pids = [prometheus.process.pid, alertmanager.process.pid]
        assert received[0]["alerts"][0]["labels"]["service"] == "checkout"
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
