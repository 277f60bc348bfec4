//! A server on loopback for tests: it takes, refuses, is slow, and closes early.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

/// Behaviour of the server with a connection.
pub(crate) enum Do {
    /// Takes the request, and answers with these bytes.
    Answer(&'static str),
    /// Reads nothing, and closes.
    Close,
    /// Says nothing, until the client gives up.
    Wait,
}

pub(crate) const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
pub(crate) const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 5\r\n\r\nlater";

/// A server that does these things, one a connection; gives its port, and each request that it took.
pub(crate) fn server(acts: Vec<Do>) -> (u16, Receiver<Vec<u8>>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (requests, received) = mpsc::channel();
    let served = thread::spawn(move || {
        for act in acts {
            let (mut stream, _) = listener.accept().expect("accept");
            match act {
                Do::Close => drop(stream),
                Do::Answer(answer) => {
                    // Whoever asked need not look at it.
                    let _ = requests.send(read(&mut stream));
                    stream.write_all(answer.as_bytes()).expect("answer");
                }
                Do::Wait => {
                    let mut buffer = [0; 4096];
                    while matches!(stream.read(&mut buffer), Ok(1..)) {}
                }
            }
        }
    });
    (port, received, served)
}

/// Reads a request to its end.
fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).expect("read");
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let head = text.find("\r\n\r\n").map(|end| end + 4);
        let length: Option<usize> =
            text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        if let (Some(head), Some(length)) = (head, length)
            && request.len() >= head + length
        {
            return request;
        }
        assert!(count > 0, "the request broke off");
    }
}
