wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
