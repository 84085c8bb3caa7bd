module archsearch.dev/cluster/tools/pause

go 1.24.0
