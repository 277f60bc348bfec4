//! Behaviours of a server, and the error for each.

use std::net::TcpListener;

use super::super::Protocol;
use super::super::receiver::{BUSY, Do, TAKEN, server};
use super::*;

fn request(port: u16) -> Request {
    Request {
        protocol: Protocol::Otlp,
        url: format!("http://user:secret@127.0.0.1:{port}/v1development/profiles?key=secret"),
        headers: vec![("authorization".to_owned(), "Bearer 7".to_owned())],
        body: vec![7; 100_000],
    }
}

/// Patience that is longer than any answer takes, on a busy machine, too.
fn patience() -> Patience {
    Patience { tries: 3, timeout: Duration::from_secs(60), wait: Duration::from_millis(1) }
}

#[test]
fn a_request_is_taken() {
    let (port, requests, served) = server(vec![Do::Answer(TAKEN)]);
    assert_eq!(send(&request(port), &patience()).expect("sent"), b"ok");
    let request = requests.recv().expect("request");
    let text = String::from_utf8_lossy(&request).to_lowercase();
    assert!(text.starts_with("post /v1development/profiles?key=secret http/1.1\r\n"), "{text}");
    assert!(text.contains("authorization: bearer 7\r\n"));
    assert!(request.ends_with(&[7; 100_000]));
    served.join().expect("served");
}

#[test]
fn a_busy_server_is_asked_again() {
    let many = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
    let (port, _requests, served) = server(vec![Do::Answer(BUSY), Do::Answer(many), Do::Answer(TAKEN)]);
    assert_eq!(send(&request(port), &patience()).expect("sent"), b"ok");
    served.join().expect("served");

    let (port, _requests, served) = server(vec![Do::Answer(BUSY), Do::Answer(BUSY), Do::Answer(BUSY)]);
    let error = send(&request(port), &patience()).expect_err("busy").to_string();
    assert_eq!(error, format!("http://127.0.0.1:{port}/v1development/profiles answered 503: later, 3 times"));
    served.join().expect("served");
}

#[test]
fn a_refusal_is_told_once_with_its_text() {
    let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 18\r\n\r\nno\u{1b}[31m\nsuch token";
    let (port, _requests, served) = server(vec![Do::Answer(refused)]);
    let error = send(&request(port), &patience()).expect_err("refused").to_string();
    assert!(error.ends_with("/profiles answered 401: no\u{fffd}[31m such token"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    served.join().expect("served");

    let moved = "HTTP/1.1 301 Moved\r\nlocation: https://other/\r\ncontent-length: 0\r\n\r\n";
    let (port, _requests, served) = server(vec![Do::Answer(moved)]);
    let error = send(&request(port), &patience()).expect_err("moved").to_string();
    assert!(error.ends_with("answered 301: it is elsewhere, at https://other/"), "{error}");
    served.join().expect("served");
}

#[test]
fn a_server_that_is_slow_or_closes_is_given_up() {
    let short = Patience { timeout: Duration::from_millis(200), ..patience() };
    let (port, _requests, served) = server(vec![Do::Wait]);
    let error = send(&request(port), &Patience { tries: 1, ..short }).expect_err("slow").to_string();
    assert!(error.ends_with(": no answer in time"), "{error}");
    served.join().expect("served");
    let (port, _requests, served) = server(vec![Do::Wait, Do::Wait]);
    let error = send(&request(port), &Patience { tries: 2, ..short }).expect_err("slow").to_string();
    assert!(error.ends_with(": no answer in time, 2 times"), "{error}");
    served.join().expect("served");

    let (port, _requests, served) = server(vec![Do::Close, Do::Close, Do::Answer(TAKEN)]);
    assert_eq!(send(&request(port), &patience()).expect("sent"), b"ok");
    served.join().expect("served");

    let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("port");
    let error = send(&request(unused.port()), &patience()).expect_err("nobody").to_string();
    assert!(error.contains("cannot send to http://127.0.0.1:") && error.ends_with(", 3 times"), "{error}");
}

#[test]
fn what_cannot_be_a_header_is_told() {
    let mut request = request(9);
    request.headers.push(("x y".to_owned(), "1".to_owned()));
    assert_eq!(send(&request, &patience()).expect_err("header").to_string(), "`x y` cannot be a header");
}
