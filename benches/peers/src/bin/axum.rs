//! The service on axum: `axum PORT FILE WORKERS`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use metricstream::limits::BODY_BYTES_MAX_DEFAULT;
use metricstream_peers::{Arguments, Reply, Service};

async fn ingest(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let Reply { status, body } = service.ingest(authorization, peer.ip(), &body).await;
    let status = StatusCode::from_u16(status).expect("ours are statuses");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn main() -> std::io::Result<()> {
    let Arguments {
        address,
        file,
        workers,
    } = Arguments::of_process();
    let service = Arc::new(Service::start(&file)?);
    let routes = Router::new()
        .route("/metrics", post(ingest))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX_DEFAULT))
        .with_state(service);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let app = routes.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, app).await
    })
}
