/**
 * Settings as records: one annotated component per key ({@link org.rlhf4j.core.config.Key}), from
 * which reading, checking, help, the saved {@code config.yaml} and the comparison on resume are
 * made.
 */
package org.rlhf4j.core.config;
