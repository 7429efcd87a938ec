#!/usr/bin/env node
import "../dist/watchdog.mjs";
