"""nginx with its RTMP module, for as long as a test lasts: takes streams by RTMP, gives them by RTMP and by HLS.

    require_nginx()                               # once per module, in a fixture: skips, or fails if REQUIRE_SERVERS=1
    with NginxServer(tmp_path / "nginx") as server:
        server.rtmp_url("cam")                    # rtmp://127.0.0.1:PORT/live/cam, to publish to and to play from
        server.hls_url("cam")                     # http://127.0.0.1:PORT/hls/cam.m3u8, the same; 0.5 s segments
        server.file_url("out.m3u8")               # http://127.0.0.1:PORT/files/out.m3u8, whatever lies in server.files
        server.kill(); server.start()             # gone as by a cut of the power, and back at the same addresses
        server.freeze(); server.thaw()            # accepts connections, keeps them, and neither reads nor sends

One process, everything of it below its own folder, on loopback ports that were free; stopped by its own process id.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from servers.process import HOST, ServerProcess, free_ports, skip_for_want_of

PACKAGES = "nginx-light libnginx-mod-rtmp"
MODULES = Path("/usr/lib/nginx/modules")
_RTMP_MODULE = MODULES / "ngx_rtmp_module.so"
_START_S = 10.0
"""nginx that does not answer for so long has failed to start."""

_CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log errors.log warn;
load_module {module};
events {{ worker_connections 256; }}
rtmp {{
    access_log off;
    server {{
        listen {host}:{rtmp_port};
        chunk_size 4096;
        application live {{
            live on;
            wait_key on;
            drop_idle_publisher 20s;
            hls on;
            hls_path {folder}/hls;
            hls_fragment 500ms;
            hls_playlist_length 3s;
            hls_cleanup off;
        }}
    }}
}}
http {{
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4 m4s; }}
    server {{
        listen {host}:{http_port};
        location /hls/ {{ root .; add_header Cache-Control no-cache; }}
        location /files/ {{ root .; add_header Cache-Control no-cache; }}
    }}
}}
"""


def find_nginx() -> str | None:
    """The program, where it and its RTMP module are installed."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    return program if _RTMP_MODULE.exists() else None


def require_nginx() -> None:
    """Skip the test where there is no nginx with its RTMP module, or fail it where REQUIRE_SERVERS=1."""
    if find_nginx() is None:
        skip_for_want_of("nginx with its RTMP module", PACKAGES)


class NginxServer(ServerProcess):
    """Serves from `folder`, which is made; `files` in it is a folder to fill as one likes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder.absolute()
        self.files = self._folder / "files"
        for each in (self.files, self._folder / "hls", self._folder / "temporary"):
            each.mkdir(parents=True, exist_ok=True)
        self._rtmp_port, self._http_port = free_ports(2)

    def rtmp_url(self, name: str = "live") -> str:
        """Where a stream is published to, and where it is played from."""
        return f"rtmp://{HOST}:{self._rtmp_port}/live/{name}"

    def hls_url(self, name: str = "live") -> str:
        """Where a stream that is published by RTMP is played from as HLS, once its first segment is written."""
        return f"http://{HOST}:{self._http_port}/hls/{name}.m3u8"

    def file_url(self, name: str) -> str:
        """Where a file of `files` is had."""
        return f"http://{HOST}:{self._http_port}/files/{name}"

    def start(self) -> None:
        """Start, and return once clients are welcome."""
        program = find_nginx()
        assert program is not None, f"apt-get install {PACKAGES}"
        config = self._folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                module=_RTMP_MODULE,
                folder=self._folder,
                host=HOST,
                rtmp_port=self._rtmp_port,
                http_port=self._http_port,
            )
        )
        # -e: the log of before the configuration is read would be in a folder of root's.
        command = [program, "-p", str(self._folder), "-c", str(config), "-e", str(self._folder / "errors.log")]
        self._launch(command, self._is_welcoming)

    def _is_welcoming(self, process: subprocess.Popen[str]) -> bool:
        waited_s, pause_s = 0.0, 0.02
        while waited_s < _START_S:
            try:
                for port in (self._rtmp_port, self._http_port):
                    socket.create_connection((HOST, port), timeout=1).close()
            except OSError:
                try:
                    process.wait(pause_s)
                except subprocess.TimeoutExpired:
                    waited_s += pause_s
                    continue
                return False
            return True
        return False
