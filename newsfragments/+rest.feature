An idle node looks at its files with about half of the processor time: folders that nobody changed are not listed.
