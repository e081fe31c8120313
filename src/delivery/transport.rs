//! One POST.
/// x
#[async_trait::async_trait]
pub trait Post: std::fmt::Debug + Send + Sync + 'static {
    /// x
    async fn post(&self, url: &str, body: Vec<u8>) -> PostReport;
}
/// x
#[derive(Debug)]
pub struct PostReport {
    /// x
    pub exchange: crate::domain::Exchange,
}
