//! The service on actix-web: `actix PORT FILE WORKERS`.

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use metricstream::limits::BODY_BYTES_MAX_DEFAULT;
use metricstream_peers::{Arguments, Reply, Service};

async fn ingest(service: web::Data<Service>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let authorization = request
        .headers()
        .get("authorization")
        .map(|value| value.as_bytes());
    let peer = request.peer_addr().expect("a connection has one").ip();
    let Reply { status, body } = service.ingest(authorization, peer, &body).await;
    let status = StatusCode::from_u16(status).expect("ours are statuses");
    HttpResponse::build(status)
        .content_type("application/json")
        .body(body)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let Arguments {
        address,
        file,
        workers,
    } = Arguments::of_process();
    let service = web::Data::new(Service::start(&file)?);
    HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&service))
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX_DEFAULT))
            .route("/metrics", web::post().to(ingest))
    })
    .workers(workers)
    .bind(address)?
    .run()
    .await
}
