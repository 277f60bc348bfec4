fn main() {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap()).join("tracer-ebpf");
    std::fs::copy("../target/bpf/bpfel-unknown-none/release/tracer-ebpf", out).unwrap();
    println!("cargo:rerun-if-changed=../target/bpf/bpfel-unknown-none/release/tracer-ebpf");
}
