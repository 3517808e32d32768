"""What the daemon's own objects let through and lose: noise, talk, days, speakers. Nothing is trained here."""
