//! A short run of the fuzz targets on stable: a seeded mutator over the seeds and the golden vectors. A failure names the seed
//! and the input. `WSE_FUZZ_SEED` and `WSE_FUZZ_ITERATIONS` replay or prolong a run; the time limit then does not apply.

#![allow(unreachable_pub)]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

const ITERATIONS: u64 = 30_000;
const TIME_LIMIT: Duration = Duration::from_secs(3);
const LONGEST: usize = 64 * 1024;

/// xorshift64*: small, seeded, good enough to choose bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// The seed files of a target and what the golden vectors hold for it.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("fuzz/seeds").join(target))
        .expect("a folder of seeds")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let mut seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a seed")).collect();
    for file in ["envelope.json", "pong.json", "errors.json", "codec.json", "frames.json"] {
        let text = std::fs::read_to_string(root().join("spec/vectors").join(file)).expect("vectors");
        for vector in serde_json::from_str::<Vec<Value>>(&text).expect("an array") {
            let text = |name: &str| vector[name].as_str().map(str::to_owned);
            match (target, vector["kind"].as_str().unwrap_or_default()) {
                ("frames", "decode") => seeds.push([vec![7], from_hex(&text("hex").expect("hex"))].concat()),
                ("msgpack", "msgpack" | "to_msgpack") => seeds.push(from_hex(&text("hex").expect("hex"))[2..].to_vec()),
                ("zlib", "zlib") => {
                    seeds.push(STANDARD.decode(text("base64").expect("base64")).expect("base64")[2..].to_vec())
                }
                ("envelope", _) => {
                    seeds.extend([text("input"), text("output")].into_iter().flatten().map(String::into_bytes))
                }
                _ => {}
            }
        }
    }
    assert!(seeds.len() >= 3, "{target} has hardly any seed");
    seeds
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    const ODD: [u8; 12] = [0, 1, 0x7F, 0x80, 0xFF, 0x7E, 0xFE, b'"', b'\\', b'{', b'\r', 0xC1];
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(data.len() + 1);
        let end = (at + 1 + random.below(16)).min(data.len());
        match random.below(9) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = random.next().to_le_bytes()[0],
            2 if at < data.len() => data[at] = ODD[random.below(ODD.len())],
            3 => data.insert(at, ODD[random.below(ODD.len())]),
            4 if at < end => drop(data.drain(at..end)),
            5 if at < end => {
                let copy: Vec<u8> = data[at..end].repeat(1 + random.below(40));
                data.splice(at..at, copy);
            }
            6 => data.truncate(at),
            7 => {
                let other = &seeds[random.below(seeds.len())];
                data.truncate(at);
                data.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            _ if at + 4 <= data.len() => data[at..at + 4].copy_from_slice(&random.next().to_be_bytes()[4..]),
            _ => {}
        }
    }
    data.truncate(LONGEST);
    data
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn run(target: &str) {
    let body = targets::TARGETS.iter().find(|(name, _)| *name == target).expect("a target").1;
    let seeds = seeds(target);
    let (seed, iterations) = (number("WSE_FUZZ_SEED"), number("WSE_FUZZ_ITERATIONS"));
    let limited = seed.is_none() && iterations.is_none();
    let (seed, iterations) = (seed.unwrap_or(0x5EED), iterations.unwrap_or(ITERATIONS));
    let mut random = Random(seed | 1);
    let attempt = |input: &[u8], iteration: Option<u64>| {
        if let Err(panic) = catch_unwind(|| body(input)) {
            let what = panic.downcast_ref::<String>().cloned();
            let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("target {target}, WSE_FUZZ_SEED={seed}, iteration {iteration:?}: {what}\ninput: {hex}");
        }
    };
    seeds.iter().for_each(|seed| attempt(seed, None));
    let began = Instant::now();
    for iteration in 0..iterations {
        attempt(&mutate(&mut random, &seeds), Some(iteration));
        if limited && began.elapsed() > TIME_LIMIT {
            break;
        }
    }
}

#[test]
fn handshake() {
    run("handshake");
}

#[test]
fn frames() {
    run("frames");
}

#[test]
fn envelope() {
    run("envelope");
}

#[test]
fn shape() {
    run("shape");
}

#[test]
fn msgpack() {
    run("msgpack");
}

#[test]
fn zlib() {
    run("zlib");
}
