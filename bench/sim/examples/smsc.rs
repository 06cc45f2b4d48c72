//! Runs the SMSC: `smsc [listen] [config as JSON] [seconds]`, then prints its report.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::time::Duration;

use sim::smsc::{Smsc, SmscConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:2775".into());
    let config = arguments.next().unwrap_or_else(|| "{}".into());
    let seconds = arguments
        .next()
        .map_or(Ok(u64::MAX >> 32), |text| text.parse())?;
    let config = SmscConfig {
        listen: listen.parse()?,
        ..serde_json::from_str(&config)?
    };
    let smsc = Smsc::start(config).await?;
    println!("listening on {}", smsc.addr());
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
    }
    println!("{}", serde_json::to_string_pretty(&smsc.stop().await)?);
    Ok(())
}
