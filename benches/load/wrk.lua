-- What `run` has wrk send, and how wrk tells it what came of it. The headers are on wrk's command line.
wrk.method = "POST"
wrk.body = os.getenv("LOAD_BODY")

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "microseconds": %d, "errors": %d, "p50": %d, "p99": %d}\n',
        summary.requests,
        summary.duration,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50),
        latency:percentile(99)
    ))
end
