-- The sandbox sends nothing; it makes outcomes up, the same ones at every run.
ALTER SERVER mktg_sandbox OPTIONS (ADD seed '2025', ADD failed_rate '0.01', ADD bounced_rate '0.01',
                                   ADD delivered_rate '0.98', ADD read_rate '0.6');

-- a hundred a second, so that there is something to watch
UPDATE mktg.sender SET rate_per_second = 100 WHERE name = 'sandbox';
