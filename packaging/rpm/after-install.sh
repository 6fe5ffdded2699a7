#!/bin/sh
# The services are not started: somebody has to say first what the mirror keeps.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # After an upgrade.
    if [ "${1:-1}" -gt 1 ]; then
        systemctl try-restart plugport.service || :
    fi
fi
