A simulated cluster takes care of agents too: they enroll at any node, and a history that looks from outside finds what must never be of their registrations.
