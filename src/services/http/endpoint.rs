//! The endpoints of a server as a table: one row for each method and path.

use super::message::{Method, ServerRequest};

/// One endpoint of a server `S`, whose handlers return `R`.
pub struct Endpoint<S, R> {
    method: Method,
    /// A path that ends with `/` stands for every path below it.
    path: &'static str,
    handle: fn(&S, &ServerRequest) -> R,
}

/// Reasons why a request has no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoEndpoint {
    /// The path does not exist.
    Path,
    /// The path exists with other methods: these, in an `Allow` header's form.
    Method(String),
}

/// Returns the row of a `GET` endpoint.
pub const fn get<S, R>(path: &'static str, handle: fn(&S, &ServerRequest) -> R) -> Endpoint<S, R> {
    Endpoint {
        method: Method::Get,
        path,
        handle,
    }
}

/// Returns the row of a `POST` endpoint.
pub const fn post<S, R>(path: &'static str, handle: fn(&S, &ServerRequest) -> R) -> Endpoint<S, R> {
    Endpoint {
        method: Method::Post,
        path,
        handle,
    }
}

/// Calls the handler of a request.
///
/// # Errors
/// Returns [`NoEndpoint`] if no row of the table has its path and method.
pub fn dispatch<S, R>(
    table: &[Endpoint<S, R>],
    server: &S,
    request: &ServerRequest,
) -> Result<R, NoEndpoint> {
    let serves = |row: &&Endpoint<S, R>| match row.path.strip_suffix('/') {
        Some(_) => request.path.starts_with(row.path),
        None => request.path == row.path,
    };
    let mut allowed = Vec::new();
    for row in table.iter().filter(serves) {
        if row.method == request.method {
            return Ok((row.handle)(server, request));
        }
        allowed.push(row.method.to_string());
    }
    Err(match allowed.as_slice() {
        [] => NoEndpoint::Path,
        methods => NoEndpoint::Method(methods.join(",")),
    })
}
