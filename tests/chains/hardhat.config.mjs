// What `hardhat node` needs to be a chain: nothing is compiled.
export default { networks: { node: { type: "edr-simulated", chainId: 31337 } } };
