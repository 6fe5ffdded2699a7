#!/bin/sh
# Not before an upgrade, which restarts them.
if [ "${1:-0}" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl disable --now plugport.service plugport-sync.timer || :
fi
