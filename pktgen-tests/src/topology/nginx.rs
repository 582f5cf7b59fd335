//! The configuration of a server's nginx.
//!
//! Must not depend on the machine's own nginx configuration, nor write outside the given directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The size of the file at `/big`: many full-sized segments.
pub(super) const BIG_BYTES: usize = 100_000;

/// Writes the configuration and the files of one server, gives the configuration's path.
///
/// `/` names the server, `/big` is a file of 100 kB, `/paced` is the same in about 5 seconds and `/slow` in 40, `/upload` takes a body and says how long it was, `/healthz`
/// answers "ok".
pub(super) fn write(directory: &Path, name: &str, port: u16) -> Result<PathBuf> {
    let make = |path: &Path| {
        fs::create_dir_all(path).map_err(|source| Error::File {
            path: path.display().to_string(),
            source,
        })
    };
    let put = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).map_err(|source| Error::File {
            path: path.display().to_string(),
            source,
        })
    };
    make(directory)?;
    make(&directory.join("files"))?;
    let big: Vec<u8> = name.bytes().chain(*b"\n").cycle().take(BIG_BYTES).collect();
    put(&directory.join("files/big"), &big)?;
    let path = directory.join("nginx.conf");
    put(&path, text(directory, name, port).as_bytes())?;
    Ok(path)
}

fn text(directory: &Path, name: &str, port: u16) -> String {
    let directory = directory.display();
    format!(
        r#"user root;
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type text/plain;
    # A load balancer of connections is seen at work only when every request is a new connection.
    keepalive_timeout 0;
    client_max_body_size 16m;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    add_header X-Server {name} always;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} ipv6only=on backlog=4096;
        location / {{ return 200 "{name}\n"; }}
        location = /healthz {{ return 200 "ok\n"; }}
        location = /big {{ root {directory}/files; }}
        location = /slow {{ alias {directory}/files/big; limit_rate 2400; }}
        location = /paced {{ alias {directory}/files/big; limit_rate 20000; }}
        # Passed on, so that the body is really read before the answer.
        location = /upload {{ proxy_pass http://unix:{directory}/upload.sock; }}
    }}
    server {{
        listen unix:{directory}/upload.sock;
        location / {{ return 200 "{name} $content_length\n"; }}
    }}
}}
"#
    )
}
