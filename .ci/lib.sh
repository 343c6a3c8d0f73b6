# What the smoke tests share. Sourced, from the root of the repository.
# shellcheck shell=bash

# free_port prints a port of 127.0.0.1 on which nobody listens, below those the kernel hands out.
free_port() {
	local port
	while port=$((20000 + RANDOM % 10000)) && (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
	echo "$port"
}

# serves_model URL: the service there answers with the reference order as the model has it, field by
# field and in its order. It has ten seconds: the order may just have been published.
serves_model() {
	local url=$1/api/v1/orders/b563feb7b2b84b6test served
	served=$(curl --silent --show-error --fail --retry 20 --retry-delay 1 --retry-max-time 10 --retry-all-errors "$url")
	diff <(jq --compact-output . publisher/model.json) <(jq --compact-output . <<<"$served")
	echo "$url is the model"
}
