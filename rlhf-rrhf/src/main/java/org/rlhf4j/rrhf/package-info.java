/** RRHF: ranks candidate responses by reward and trains on the ranking. Nothing is here yet. */
package org.rlhf4j.rrhf;
