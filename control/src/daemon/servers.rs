//! The thread that answers the API, so that nobody who asks keeps the control thread from its work.
//! It decides nothing: what is answered is `api/`'s, what is changed is `running.rs`'s.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::api::Api;
use crate::api::server::{self, Limits};
use crate::capabilities;

/// The thread. Dropped, it ends, and gives back what it held of the API.
#[derive(Debug)]
pub(super) struct Servers {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Serves the control socket, and the HTTP address if there is one.
    ///
    /// # Errors
    /// When the system has no thread or no descriptor for it.
    pub(super) fn start(
        control: UnixListener,
        http: Option<TcpListener>,
        api: Api,
        limits: Limits,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (control, http) = {
            let _inside = runtime.enter();
            (
                tokio::net::UnixListener::from_std(control)?,
                http.map(tokio::net::TcpListener::from_std).transpose()?,
            )
        };
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            let router = api.clone().control();
            let control = server::serve(control, "control.socket", router, limits);
            let http = async {
                match http {
                    Some(http) => {
                        server::serve(http, "control.http", api.read_only(), limits).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                never = control => match never {},
                never = http => match never {},
                _ = stopped => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || {
                capabilities::keep_reading();
                runtime.block_on(serve);
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has been reported already.
            let _ = thread.join();
        }
    }
}
