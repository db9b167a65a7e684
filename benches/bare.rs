//! A bare axum server: each path answers the bytes of a file, with nothing around it. It is what
//! the gateway is measured against.
//!
//! `bare 127.0.0.1:0 /one=one.json /all=all.json`

use std::error::Error;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("where to listen?")?;
    let mut routes = Router::new();
    for pair in args {
        let (path, file) = pair.split_once('=').ok_or("PATH=FILE is expected")?;
        let body = Bytes::from(std::fs::read(file)?);
        let answer = move || async move { ([(CONTENT_TYPE, "application/json")], body) };
        routes = routes.route(path, get(answer));
    }
    let listener = TcpListener::bind(address).await?;
    println!("bare listening on http://{}", listener.local_addr()?);
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        }),
        routes,
    )
    .await?;
    Ok(())
}
