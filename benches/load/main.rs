//! The parts of a load run, each a process of its own; `run` beside this file puts them together.
//!
//! `load upstream` responds to requests. `load bare` and `load layer` are a reverse proxy, without the
//! layer and with it. `load pace` sends requests at a constant rate, and `load upload` bodies that
//! take their time.

#![allow(unreachable_pub)]

mod keys;
mod pace;
mod proxy;
mod reply;
mod upload;
mod upstream;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream"] => upstream::serve(),
        ["bare", upstream] => proxy::bare(number(upstream)),
        ["layer", upstream, keys, out] => proxy::layer(number(upstream), number(keys), number(out)),
        ["pace", proxy, connections, rate, milliseconds] => pace::send(
            number(proxy),
            number(connections),
            number(rate),
            number(milliseconds),
        ),
        ["upload", proxy, clients, milliseconds] => {
            upload::send(number(proxy), number(clients), number(milliseconds));
        }
        // Cargo runs every bench when it is not told which; this one has nothing to say then.
        _ => {}
    }
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a number, or an address with a port")
}
