-- Three metrics a request, as the figures of benches/README.md have them.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"metrics":[' ..
    '{"name":"cpu.load","value":0.93,"type":"gauge","tags":{"host":"web-1"}},' ..
    '{"name":"mem.used","value":123456789,"type":"gauge"},' ..
    '{"name":"requests","value":42,"type":"counter","tags":{"path":"/api"}}]}'
