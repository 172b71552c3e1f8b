/// The n-th key, as long as a provider's are.
pub fn key(n: usize) -> String {
    format!("sk-ant-api03-{n:095}")
}
