"""The daemon's events on an MQTT broker, as Home Assistant discovers them.

What is said to whom is worked out without clock, thread or socket; `broker` alone knows paho, `carry` alone waits.
"""
