//! Load: requests on kept-alive connections, as fast as they are answered or at a fixed rate.
//!
//! At a fixed rate latency counts from when the request was due, so a server that stalls pays for all that
//! waited meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::statistics::median;

/// Rate at which requests are sent.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// The next as soon as the last is answered.
    Saturating,
    /// Requests a second, on all connections together.
    Rate(f64),
}

/// Result of the load.
pub(super) struct Outcome {
    pub(super) requests_per_s: f64,
    /// (second of the load in which it was due, latency in us) of each request.
    requests: Vec<(u32, u32)>,
}

impl Outcome {
    /// Requests that were answered.
    pub(super) fn count(&self) -> usize {
        self.requests.len()
    }

    /// The latency that this part of the requests of a second did not exceed, ms: the median of the seconds. One pause
    /// of the machine itself, as a shared one makes them, does not move it, but what comes each second does.
    pub(super) fn latency_ms(&self, part: f64) -> f64 {
        let seconds = self.requests.iter().map(|(second, _)| second + 1).max().unwrap_or(0);
        let of_second = |second: u32| {
            let of_second = self.requests.iter().filter(|(due, _)| *due == second);
            let mut latencies_us: Vec<u32> = of_second.map(|(_, latency_us)| *latency_us).collect();
            latencies_us.sort_unstable();
            let rank = (part * latencies_us.len() as f64).ceil() as usize;
            latencies_us.get(rank.saturating_sub(1)).map(|latency_us| f64::from(*latency_us) / 1e3)
        };
        median(&(0..seconds).filter_map(of_second).collect::<Vec<_>>())
    }
}

/// Asks the server on this port of 127.0.0.1 for pages, for so long.
pub(super) fn run(port: u16, connections: usize, pace: Pace, duration: Duration) -> Result<Outcome> {
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    let client = || -> Result<Vec<(u32, u32)>> {
        let mut connection = Connection::open(port)?;
        let mut requests = Vec::new();
        while begun.elapsed() < duration {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = match pace {
                Pace::Saturating => Instant::now(),
                Pace::Rate(rate) => begun + Duration::from_secs_f64(number as f64 / rate),
            };
            if due >= begun + duration {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.get(number)?;
            let latency_us = due.elapsed().as_micros().try_into().unwrap_or(u32::MAX);
            requests.push(((due - begun).as_secs() as u32, latency_us));
        }
        Ok(requests)
    };
    let mut requests = Vec::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..connections).map(|_| scope.spawn(client)).collect();
        for client in clients {
            match client.join() {
                Ok(taken) => requests.extend(taken?),
                Err(_) => bail!("a client of the server failed"),
            }
        }
        Ok(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Outcome { requests_per_s: requests.len() as f64 / seconds, requests })
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("the server does not answer")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn get(&mut self, number: u64) -> Result<()> {
        let first = number * 37 % 5_000;
        let request =
            format!("GET /?first={first} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        read_response(&mut self.0).context("the server's answer")?;
        Ok(())
    }
}

/// Reads one response to its end; the bytes of its body.
fn read_response(from: &mut impl BufRead) -> Result<u64> {
    let status = line(from)?;
    if status.split(' ').nth(1) != Some("200") {
        bail!("{status}");
    }
    let (mut length, mut chunked) = (None, false);
    loop {
        let header = line(from)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').with_context(|| format!("not a header: {header}"))?;
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => length = Some(value.parse().context("a length that is none")?),
            ("transfer-encoding", "chunked") => chunked = true,
            _ => {}
        }
    }
    if !chunked {
        let length = length.context("it does not say how long it is")?;
        return skip(from, length).map(|()| length);
    }
    let mut total = 0;
    loop {
        let size = line(from)?;
        let size = size.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size.trim(), 16).with_context(|| format!("not a chunk: {size}"))?;
        skip(from, size)?;
        // The line's end after a chunk; after the last one the empty line that ends it all.
        line(from)?;
        total += size;
        if size == 0 {
            return Ok(total);
        }
    }
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        bail!("the connection was closed");
    }
    Ok(line.trim_end().to_owned())
}

fn skip(from: &mut impl BufRead, mut count: u64) -> Result<()> {
    while count > 0 {
        let there = from.fill_buf()?.len() as u64;
        if there == 0 {
            bail!("the connection was closed");
        }
        let taken = there.min(count);
        from.consume(taken as usize);
        count -= taken;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_to_their_end_and_no_further() {
        let mut two = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
            HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
            .as_slice();
        assert_eq!(read_response(&mut two).expect("the first"), 5);
        assert_eq!(read_response(&mut two).expect("the second"), 21);
        assert!(two.is_empty());
    }

    #[test]
    fn what_is_no_page_is_an_error() {
        for wrong in [
            "HTTP/1.1 500 Internal\r\n\r\n",
            "HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\nhello",
            "HTTP/1.1 200 \r\n\r\n",
            "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n",
            "",
        ] {
            assert!(read_response(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_percentile_is_one_of_the_latencies() {
        let outcome = |requests| Outcome { requests_per_s: 1.0, requests };
        let second = outcome((1..=200).map(|latency_us| (0, latency_us)).collect());
        assert_eq!((second.latency_ms(0.5), second.latency_ms(0.99)), (0.1, 0.198));
        assert_eq!(outcome(Vec::new()).latency_ms(0.5), 0.0);
    }

    #[test]
    fn one_bad_second_does_not_move_a_percentile() {
        let seconds = [1_000, 80_000, 3_000].into_iter().zip(0..);
        let requests = seconds.flat_map(|(latency_us, second)| [(second, latency_us), (second, 1)]).collect();
        assert_eq!(Outcome { requests_per_s: 1.0, requests }.latency_ms(0.99), 3.0);
    }
}
