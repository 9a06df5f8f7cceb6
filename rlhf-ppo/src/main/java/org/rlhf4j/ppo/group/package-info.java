/**
 * Methods that compare the responses to a prompt with each other instead of training a value
 * network: {@link org.rlhf4j.ppo.group.GrpoTrainer}, {@link org.rlhf4j.ppo.group.RlooTrainer},
 * {@link org.rlhf4j.ppo.group.ReinforcePlusPlusTrainer}. They are one loop, {@link
 * org.rlhf4j.ppo.group.GroupTrainer}, with a {@link org.rlhf4j.ppo.group.GroupMethod} each; a
 * method of one's own is one more.
 */
package org.rlhf4j.ppo.group;
