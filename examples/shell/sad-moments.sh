#!/bin/sh
# Sad moments as JSON, one a line, while the daemon speaks; losses, restarts and silence go to standard error.
# sad-moments.sh [ENDPOINT]
sadstream listen --json "$@" | grep --line-buffered '"type":"score".*"sad":true'
