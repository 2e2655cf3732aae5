//! `vitrine serve`: opens the service and answers over HTTP until SIGTERM or SIGINT, then finishes what was accepted.

use super::{CliError, joint, runtime, signals};
use crate::config::{LogConfig, LogFormat, NatsSettings, ServerConfig, ServiceSettings};
use crate::feed::JetStreamConfig;
use crate::service::Service;
use clap::Args;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Options of `vitrine serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    server: ServerConfig,
    #[command(flatten)]
    service: ServiceSettings,
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    log: LogConfig,
}

/// Runs `vitrine serve`.
pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    log(&args.log)?;
    let nats = args.nats.jetstream_config(args.service.data.feed_retention_days);
    serve(&args.server, &args.service, nats, |address| println!("vitrine is ready: http://{address}"))
}

/// Serves until a signal comes; `ready` is called once connections are accepted, with the address bound.
pub(super) fn serve(
    server: &ServerConfig,
    settings: &ServiceSettings,
    nats: Option<JetStreamConfig>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), CliError> {
    // Whatever can be refused at once is, before the model takes its seconds to load.
    let keys = joint::keys(server.keys_file.as_deref())?;
    joint::refuse_open_listener(server.listen, keys.as_ref())?;
    let runtime = runtime()?;
    let bind = TcpListener::bind(server.listen);
    let refused = |source| CliError::Listen { listen: server.listen, source };
    let listener = runtime.block_on(bind).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tracing::info!(%address, "listening; opening catalog, model and index");
    let opened = Arc::new(OnceLock::new());
    let opening = async {
        let (settings, opened) = (settings.clone(), Arc::clone(&opened));
        let open = move || -> Result<Arc<Service>, CliError> {
            let service = Arc::new(joint::open_service(&settings, 0)?);
            service.start_background()?;
            Ok(Arc::clone(opened.get_or_init(|| service)))
        };
        let service = tokio::task::spawn_blocking(open).await.map_err(|e| CliError::Server(e.to_string()))??;
        let runner = Arc::clone(&service);
        tokio::spawn(async move { runner.run_jobs().await });
        tokio::spawn(Arc::clone(&service).run_webhooks());
        if let Some(config) = nats {
            let publisher = Arc::clone(&service);
            tokio::spawn(async move { publisher.run_publisher(config).await });
        }
        ready(address);
        Ok(service)
    };
    let limits = server.limits(settings.photo.max_body_bytes);
    let served = runtime.block_on(joint::serve(listener, opening, keys, limits, shutdown()));
    // A stop while it opens waits for that; then, also after a failure: the index's snapshot makes the next start quick.
    drop(runtime);
    let closed = opened.get().map_or(Ok(()), |service| service.close().map_err(CliError::from));
    served.and(closed)
}

async fn shutdown() {
    match signals::stop().await {
        Ok(()) => tracing::info!("stopping: requests that were accepted are finished"),
        // Without signals the process would be deaf: better to stop now than never.
        Err(error) => tracing::error!(%error, "no signals; stopping"),
    }
}

/// Sends the log to standard error, as `config` says.
///
/// # Errors
/// When the filter cannot be read.
pub(super) fn log(config: &LogConfig) -> Result<(), CliError> {
    let fault = |e: String| CliError::Option { option: "--log", detail: e };
    let filter = EnvFilter::try_new(&config.log).map_err(|e| fault(e.to_string()))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match config.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    set.map_err(|e| fault(e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_but_loopback_is_listened_on_without_keys() {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            let server = ServerConfig { listen: listen.parse().unwrap(), ..ServerConfig::default() };
            let error = serve(&server, &ServiceSettings::default(), None, |_| unreachable!()).unwrap_err();
            assert!(matches!(error, CliError::OpenToAll { .. }), "{listen}: {error}");
            assert!(error.one_line().contains("--keys-file"));
        }
    }

    #[test]
    fn an_address_in_use_is_told_before_the_model_is_loaded() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = ServerConfig { listen: taken.local_addr().unwrap(), ..ServerConfig::default() };
        let error = serve(&server, &ServiceSettings::default(), None, |_| unreachable!()).unwrap_err();
        assert!(matches!(error, CliError::Listen { .. }), "{error}");
    }
}
