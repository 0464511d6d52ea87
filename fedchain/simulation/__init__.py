"""One federation in virtual time behind the real ports: for tests, and for trying a policy before people live with it.

    async def month() -> None:
        simulation = Simulation(sites=5, policy=fedbuff(size=3))
        await simulation.deploy()
        async with Services(simulation) as services:
            services.start_aggregator()
            for number in range(5):
                services.start_node(number, seconds=600)
            await services.until(lambda: simulation.versions > 100)
        assert (await audit(simulation)).exit_code == 0

    run(month())

Node, aggregator, audit, rules and formats are the real ones. Simulated are what stands behind the ports: the clock, the
chain, the network between the members' blobs, and the training. The same seed gives the same records, byte for byte.
"""
