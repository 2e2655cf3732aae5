//! Requests that send something to a stranger's URL, under the same rules as those that fetch from one.

use super::{FetchError, Fetcher, Target, retry_after_s};
use bytes::Bytes;
use reqwest::header::ACCEPT;
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of an answer's body that are read, so that its connection can be used again; longer ones are cut off.
const READ_BYTES: usize = 16 << 10;

/// Time for that.
const READ_TIME: Duration = Duration::from_secs(1);

/// What a server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Seconds it asked to be left alone for; 0 where it did not.
    pub retry_after_s: u32,
}

impl Fetcher {
    /// Whether `url` may be asked for, as far as its text tells: what a name leads to is known only when it is asked for.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn check(&self, url: &str) -> Result<(), FetchError> {
        self.client(&Target::parse(url)?).map(drop)
    }

    /// Sends `body` to `url`; redirects are not followed.
    ///
    /// # Errors
    /// [`FetchError`], where there is no answer.
    pub async fn post(&self, url: &str, headers: &[(&str, String)], body: Bytes) -> Result<Answer, FetchError> {
        let target = Target::parse(url)?;
        let _place = self.place().await?;
        let send = async {
            let mut request = self.client(&target)?.post(target.url.clone()).header(ACCEPT, "*/*").body(body);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let mut response = request.send().await.map_err(|error| self.fault(&target, &error))?;
            let answer =
                Answer { status: response.status().as_u16(), retry_after_s: retry_after_s(response.headers()) };
            let body = async {
                let mut read = 0;
                while let Ok(Some(chunk)) = response.chunk().await {
                    read += chunk.len();
                    if read > READ_BYTES {
                        break;
                    }
                }
            };
            // What it says beside its status is nobody's; that it breaks off meanwhile, or does not end, too.
            let _ = timeout(READ_TIME, body).await;
            Ok(answer)
        };
        let limit_ms = self.config.total_ms;
        timeout(Duration::from_millis(limit_ms), send).await.unwrap_or(Err(FetchError::Timeout { limit_ms }))
    }
}
